"""What tests share: peers, servers, files."""
