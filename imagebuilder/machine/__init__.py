"""The virtual machine: its description as QEMU's command line, whether KVM works, and one running instance."""
