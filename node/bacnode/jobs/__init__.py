"""Jobs of a node: taken in over HTTP, kept in a database, prepared in one process and run in others.

The node's own process neither parses nor runs anything that a stranger wrote:

    schema, database, folders   what a job is, and what is kept of it
    scheduler                   which job is prepared or run next, and where
    children, channel           processes of a node, and how it talks with them
    preparing, planning         a process that fetches and compiles all that a job needs, and makes a plan of it
    worker                      a process that runs plans
"""
