"""The limit on connections, and which of them are closed at the limit."""

from __future__ import annotations

from exporter.http.limits import ServerLimits

from .servers import Start, is_evicted, is_reset, read_response, request, send_request, until


class TestEviction:
    def test_longest_reading_connection_is_evicted_first(self, start: Start) -> None:
        running = start(max_connections=3)
        scraper = running.client()
        assert send_request(scraper)[0].status == 200
        with running.connect() as oldest, running.connect() as younger:
            younger.sendall(b"GET /metr")
            assert send_request(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(oldest)
            assert send_request(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(younger)
        sock = scraper.sock
        assert send_request(scraper)[0].status == 200
        assert scraper.sock is sock
        assert (
            running.log().count(
                'level=warn msg="Connection limit reached, closing the longest idle connection" limit=3'
            )
            == 1
        )

    def test_longest_idle_connection_is_evicted_next(self, start: Start) -> None:
        running = start(max_connections=2)
        first, second, third = (running.client() for _ in range(3))
        for client in (first, second):
            assert send_request(client, "/-/healthy")[0].status == 200
        # Now the second one is idle for longer.
        assert send_request(first, "/-/healthy")[0].status == 200
        sock = first.sock
        assert send_request(third, "/-/healthy")[0].status == 200
        assert second.sock
        assert is_reset(second.sock)
        assert send_request(first, "/-/healthy")[0].status == 200
        assert first.sock is sock

    def test_responding_connections_are_never_evicted(self, start: Start) -> None:
        running = start(max_connections=2)
        running.hold()
        with running.connect() as first, running.connect() as second:
            for connection in (first, second):
                connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            until(lambda: is_evicted(running), "both requests to be read")
            running.release()
            assert [read_response(connection)[0] for connection in (first, second)] == [200, 200]
        until(
            lambda: 'level=info msg="Connection count is below the limit again"' in running.log(),
            "the end of the problem",
        )

    def test_idle_connection_is_closed_after_keep_alive_timeout(self, start: Start) -> None:
        running = start(keep_alive_timeout=0.1, request_timeout=3)
        with running.connect() as connection:
            connection.sendall(request())
            assert read_response(connection)[0] == 200
            with running.connect() as silent:
                assert not is_reset(connection)
                # The first was closed by its own timeout: that of this one, a later one, has not expired.
                silent.sendall(request())
                assert read_response(silent)[0] == 200

    def test_keep_alive_timeout_is_longer_than_that_of_prometheus(self) -> None:
        """Prometheus closes idle connections after 5 minutes."""
        assert ServerLimits().keep_alive_timeout == 310
