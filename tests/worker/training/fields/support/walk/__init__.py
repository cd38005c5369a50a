"""All fields of a spec, and for each a small job in which it acts."""
