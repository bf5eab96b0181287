"""The one owner of an account: its connections, its quota and its orders. core/ decides, the other rooms do."""
