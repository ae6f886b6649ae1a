"""A complete purchase, with a client generated from the server's own OpenAPI document: see README.md above this folder."""

import os
import time
import uuid
from typing import TypeVar

from concert_reservation_client import AuthenticatedClient, Client
from concert_reservation_client.api.bookings import get_booking, hold_seats
from concert_reservation_client.api.concerts import list_concerts, list_performances
from concert_reservation_client.api.payments import pay
from concert_reservation_client.api.points import charge_points
from concert_reservation_client.api.queue import get_queue_token, join_queue
from concert_reservation_client.api.users import log_in, sign_up
from concert_reservation_client.models import (
    BestAvailableRequest,
    BookingResponse,
    BookingStatus,
    ChargeRequest,
    ChargeResponse,
    ConcertListResponse,
    HoldBestRequest,
    InsufficientPointsProblem,
    JoinRequest,
    LogInRequest,
    PaidResponse,
    PayRequest,
    PerformanceListResponse,
    ProfileResponse,
    QueueTokenResponse,
    QueueTokenStatus,
    SignUpRequest,
    TokensResponse,
)

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8080")
T = TypeVar("T")


def expect(kind: type[T], answer: object) -> T:
    """Returns the response if it is of this type. Any other ends the program."""
    if isinstance(answer, kind):
        return answer
    raise SystemExit(f"expected {kind.__name__}, got {answer}")


def log_in_anew() -> AuthenticatedClient:
    anonymous = Client(base_url=BASE_URL, raise_on_unexpected_status=True)
    email, password = f"example-{uuid.uuid4()}@demo.example", "example-password-1"
    account = SignUpRequest(email=email, password=password, name="Example")
    expect(ProfileResponse, sign_up.sync(client=anonymous, body=account))
    credentials = LogInRequest(email=email, password=password)
    login = expect(TokensResponse, log_in.sync(client=anonymous, body=credentials))
    return AuthenticatedClient(base_url=BASE_URL, token=login.access_token, raise_on_unexpected_status=True)


def wait_for_turn(client: AuthenticatedClient, concert_id: int) -> AuthenticatedClient:
    """Joins the queue of a concert and waits for admission. The returned client sends the queue token."""
    joined = join_queue.sync(client=client, body=JoinRequest(concert_id=concert_id))
    place = expect(QueueTokenResponse, joined)
    client = client.with_headers({"Queue-Token": place.queue_token})
    while place.status in (QueueTokenStatus.WAITING, QueueTokenStatus.SCHEDULED):
        time.sleep(place.poll_after_seconds)
        place = expect(QueueTokenResponse, get_queue_token.sync(client=client))
    if place.status is not QueueTokenStatus.ACTIVE:
        raise SystemExit(f"the place is {place.status}")
    return client


def new_key() -> str:
    """Creates an idempotency key. A request that is repeated with the same key has one effect."""
    return str(uuid.uuid4())


def pay_for(client: AuthenticatedClient, booking: BookingResponse) -> PaidResponse:
    """Pays for a booking. If the balance is too low, it charges the price first."""
    body = PayRequest(booking_id=booking.booking_id)
    answer = pay.sync(client=client, body=body, idempotency_key=new_key())
    # Each problem code has a class of its own, with the additional members of the problem.
    if isinstance(answer, InsufficientPointsProblem):
        print(f"the balance is {answer.balance}, needed are {answer.required}")
        charge = ChargeRequest(amount=answer.required)
        charged = charge_points.sync(client=client, body=charge, idempotency_key=new_key())
        expect(ChargeResponse, charged)
        answer = pay.sync(client=client, body=body, idempotency_key=new_key())
    return expect(PaidResponse, answer)


def main() -> None:
    client = log_in_anew()
    concerts = expect(ConcertListResponse, list_concerts.sync(client=client)).items
    concert = next(concert for concert in concerts if not concert.sold_out)
    listed = list_performances.sync(concert.concert_id, client=client, available=True)
    performance = expect(PerformanceListResponse, listed).items[0]
    client = wait_for_turn(client, concert.concert_id)
    body = HoldBestRequest(
        performance_id=performance.performance_id,
        best_available=BestAvailableRequest(quantity=2),
    )
    held = hold_seats.sync(client=client, body=body, idempotency_key=new_key())
    booking = expect(BookingResponse, held)
    print("held", ", ".join(f"{seat.section} {seat.row}-{seat.number}" for seat in booking.seats))
    paid = pay_for(client, booking)
    read = expect(BookingResponse, get_booking.sync(booking.booking_id, client=client))
    print(f"booking {read.booking_id} is {read.status}, by payment {paid.payment_id}")
    if read.status is not BookingStatus.CONFIRMED:
        raise SystemExit("it was not paid")


if __name__ == "__main__":
    main()
