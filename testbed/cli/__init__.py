"""The command `semtb`: the options of each command and the lines that call what it does. No work is done here."""
