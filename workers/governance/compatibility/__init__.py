"""May a version follow another? Resolution by the specification, its rules, and who is touched."""
