"""`python -m lorarec` is `lorarec`."""

from lorarec.cli.main import run

if __name__ == "__main__":
    run()
