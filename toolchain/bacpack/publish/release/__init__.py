"""The directory of programs, modules and manifest that is published."""
