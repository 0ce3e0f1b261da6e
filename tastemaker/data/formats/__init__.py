"""The published shapes of judgements: one small file a family. `readers.recognition` lists them and picks one."""
