"""Guards the networks of runs: a short-lived container runs this in the network namespace of its host.

It is started as a folder, ``python -I -S .../firewall COMMAND``. ``openings`` reads what the operator opens, ``rules``
writes the rules, ``lookup`` looks names up, ``command`` calls ``nft``. Standard library only.
"""
