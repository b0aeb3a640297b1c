"""Modules linked, and what they hold before the program runs."""
