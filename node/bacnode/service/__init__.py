"""The node: a small HTTP server that holds modules, serves them to others, and takes them in from those who may.

`app` gathers what it answers, a file an idea; `serve` runs it.
"""
