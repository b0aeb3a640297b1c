"""Whether modules get what they import; imports rewritten to CIDs; libraries made to work in their users' memory."""
