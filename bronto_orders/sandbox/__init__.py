"""A stand-in for Bronto's Orders REST service, written from its documents alone.

It shares no code with the client side of this package: neither imports the other, so that a
misreading in one is caught by the other. ``docs/sandbox.md`` names the source of every rule.
"""
