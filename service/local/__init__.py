"""`hone up`: every part of the service in one supervised tree on one machine."""
