"""The part of `semtb deploy` that runs on a board: sent over SSH as one file, standard library alone, Python 3.10.

It gets one request, a JSON object, and answers with one line of JSON on standard output; what it is doing meanwhile
goes to standard error. Its standard input stays open while who asked is there: its end stops an installation or a run.

    BASE/NAME/current -> releases/ID      switched by one rename, when the release is complete and checked
    BASE/NAME/releases/ID                 venv/ codec/ pictures/ edge.toml manifest.json, the unit, and this program
    BASE/NAME/runs/ID                     one run's edge.toml and pictures; gone when the run is
    BASE/NAME/edge.log, pid               of the edge that waits there for a server
"""
