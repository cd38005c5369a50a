"""What must happen without any request: doorbells, recovery of lost jobs, webhooks, retention, garbage."""
