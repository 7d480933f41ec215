"""The code that runs inside a sandbox: standard library only, no imports from our packages. Images copy this folder."""
