"""What HTTP asks of a server, whatever it serves: the protocol, the gate that every request passes, bodies, the log.

Safe to change: `incoming` (accepted bodies), `openapi`, `access_log`.
Invariants: a client can neither hold a connection without a time limit nor memory without a bound; every error has one shape.
To add one: a header of every answer is a line in `gate`; a kind of body is a function in `incoming` and an entry in `openapi`.
"""
