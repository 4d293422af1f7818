"""Headwind MDM: one login to the server, one list of its tablets, what the list says of each."""
