"""Which files an application really needs, out of all that its packages brought.

Needed are the command (for a script, its interpreter and what it calls by its path), the libraries that the dynamic
linker will look for, the files that its arguments name, what the recipe includes and adds, the libraries and
interpreters of that, and the links that lead there. All is looked for in the tree that the image will have: the
packages over what every image has, and the recipe's [[files]] over both.

What interpreters open by themselves is known (``languages``). Not seen are other files that a program opens or loads
by name while it runs; the recipe includes them where they matter: plug-ins, data, locales, ``libgcc_s.so.1`` (glibc
loads it for pthread_cancel, pthread_exit and backtrace), glibc's ``gconv/**`` (iconv), ``libnss_*.so*`` (since glibc
2.34, ``files`` and ``dns`` are in libc).
"""
