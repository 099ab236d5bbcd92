"""Container images, of OCI and of Docker, as files: what they are made of (``content``), their layers as one tree
(``layers``), and how they are pulled from a registry (``registry``). Nothing of them is run, and nothing that they say
of themselves is believed before it was counted.

OCI Image Format Specification 1.1.1, OCI Distribution Specification 1.1.1."""
