"""What is wrong with an environment, and what to do about it (`manage.py doctor`)."""
