"""`python -m apps.customer_service.demo_businesses --place var/demo-businesses.json [--port P]`."""

import argparse
from pathlib import Path

import uvicorn

from apps.customer_service.demo_businesses.app import create_app
from apps.customer_service.demo_businesses.place import read_or_choose_place


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="demo_businesses", description="Run the demo's shop, restaurant and clinic."
    )
    parser.add_argument(
        "--place",
        type=Path,
        required=True,
        help="file with the port and the token that callers must send; made at the first start",
    )
    parser.add_argument("--port", type=int, help="instead of the port in the file")
    given = parser.parse_args()
    place = read_or_choose_place(given.place)
    uvicorn.run(
        create_app(place.token),
        host="127.0.0.1",
        port=given.port or place.port,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
