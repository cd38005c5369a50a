"""Which addresses webhooks may have, and when a delivery is tried again."""

from datetime import timedelta
from ipaddress import ip_address

import pytest

from hone.errors import Invalid
from service.domain.webhook_urls import address_refusal, check_url
from service.domain.webhooks import GIVEN_UP_AFTER, LONGEST_DELAY, retry_delay


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert address_refusal(ip_address(address), private=False) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1", "::ffff:10.0.0.1"])
def test_private_addresses_need_the_operators_permission(address: str) -> None:
    assert "HONE_WEBHOOK_ALLOW_PRIVATE" in (address_refusal(ip_address(address), private=False) or "")
    assert address_refusal(ip_address(address), private=True) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",  # 6to4 of 169.254.169.254
        "64:ff9b::a9fe:a9fe",  # NAT64 of it
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_link_local_reserved_and_metadata_addresses_are_never_allowed(address: str) -> None:
    assert address_refusal(ip_address(address), private=True) is not None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "file:///etc/passwd",
        "host/path",
        "http://",
        "http://user:word@host/",
        "http://host/#here",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:8000/",
    ],
)
def test_what_cannot_be_sent_to_is_refused_when_it_is_named(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url, private=False)
    assert refused.value.param == "url"


def test_delays_grow_to_six_hours_and_are_spread() -> None:
    delays = [retry_delay(attempts) for attempts in range(1, 40)]
    assert timedelta(seconds=5) <= delays[0] <= timedelta(seconds=6.25)
    assert timedelta(seconds=20) <= delays[1] <= timedelta(seconds=25)
    assert all(LONGEST_DELAY <= delay <= 1.25 * LONGEST_DELAY for delay in delays[10:])
    assert len({retry_delay(3) for _ in range(10)}) > 1


def test_a_message_is_tried_about_twenty_times_in_three_days() -> None:
    passed, attempts = timedelta(), 0
    while passed < GIVEN_UP_AFTER:
        attempts += 1
        passed += retry_delay(attempts)
    assert 14 <= attempts <= 20
