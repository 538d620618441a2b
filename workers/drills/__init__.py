"""Drills: a fault is made on purpose beside the user's topology, and every promise is looked at.

The contracts, the model and the settings are the user's; topics, group, broker and model store are
the drill's own, so nothing of theirs is written to.
"""
