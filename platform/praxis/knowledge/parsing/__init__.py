"""From a file of unknown content to text with structure, read in a child process without rights.

`sandbox.read_file` is the door: it has `child.main` run in a process of its own, which `fork_server`
forks, and yields what that says, page by page. Modules that the child loads import neither Django nor anything of the platform.
"""
