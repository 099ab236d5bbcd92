"""What is claimed of an image, and by whom: in-toto statements, and envelopes with signatures around them.

``statement.py`` is the value, ``boot_tests.py`` the result of a test as one, ``envelope.py`` signs and checks one by
keys, ``signing.py`` and ``verifying.py`` do so for all that is claimed of an image.
"""
