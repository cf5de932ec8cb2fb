"""Workers on the nodes of a cluster, as elements of job arrays; a run on this machine imports nothing of this."""
