"""Sending jobs to where their modules are: what a job needs, told to schedulers that exist.

closure                      the modules of a program, with their sizes
placement                    what a placement costs: the objective, pure
spec, run_here               one job, and how a process runs it
modules_here, block_server   what a worker holds, and how others get it
dask_worker, dask_engine     Dask: modules as keys, jobs as tasks that depend on them
inside_dask                  what is used of it beyond its documented interface, all of it
local_engine                 the same on one machine, in processes
bacalhau_spec, bacalhau_engine, probe, labels   Bacalhau: a job of today's, and what its nodes are told
explain, simulate            why a node was chosen, and what follows for many nodes
"""
