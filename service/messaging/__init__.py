"""Redis: Celery's doorbells and wake-ups. It may vanish at any time."""
