"""The form of published modules: names, helper functions, how words are handed over."""
