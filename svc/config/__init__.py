"""The files that people write, read and checked: the site, the babysitter TOML, the files of keys."""
