"""The pages of a node for people: jobs with logs, modules and how they depend on each other, peers.

`views` says what a page tells, as plain data made by pure functions; the same data is the page's JSON twin. `templates`
make HTML of it. Everything works without JavaScript; `static/live.js` only loads a page again and shows what changed.
"""
