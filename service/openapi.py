"""Prints the OpenAPI document, from which the page's types are made: `python -m service.openapi`."""

import json
import sys

from service.app import described

if __name__ == "__main__":
    json.dump(described().openapi(), sys.stdout, indent=2)
    sys.stdout.write("\n")
