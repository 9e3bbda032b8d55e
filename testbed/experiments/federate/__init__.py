"""`semtb federate`: the processes of a federated run, what came of it, and what it is compared with."""
