"""Who may do what: principals, logins, tokens, permissions, the audit log."""
