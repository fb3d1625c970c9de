"""What the tests share.  Imports only what is public of the package."""
