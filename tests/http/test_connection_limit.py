"""The limit on connections, and which of them are closed at the limit."""

from __future__ import annotations

from exporter.http.limits import ServerLimits

from .servers import Start, answer, ask, is_reset, is_turned_away, request, until


class TestEviction:
    def test_longest_reading_connection_is_evicted_first(self, start: Start) -> None:
        running = start(max_connections=3)
        scraper = running.client()
        assert ask(scraper)[0].status == 200
        with running.connect() as oldest, running.connect() as younger:
            younger.sendall(b"GET /metr")
            assert ask(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(oldest)
            assert ask(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(younger)
        kept = scraper.sock
        assert ask(scraper)[0].status == 200
        assert scraper.sock is kept
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
            assert ask(client, "/-/healthy")[0].status == 200
        # Now the second one is the older.
        assert ask(first, "/-/healthy")[0].status == 200
        kept = first.sock
        assert ask(third, "/-/healthy")[0].status == 200
        assert second.sock
        assert is_reset(second.sock)
        assert ask(first, "/-/healthy")[0].status == 200
        assert first.sock is kept

    def test_responding_connections_are_never_evicted(self, start: Start) -> None:
        running = start(max_connections=2)
        running.hold()
        with running.connect() as one, running.connect() as other:
            for connection in (one, other):
                connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            until(lambda: is_turned_away(running), "both requests being known")
            running.release()
            assert [answer(connection)[0] for connection in (one, other)] == [200, 200]
        until(
            lambda: 'level=info msg="Connection count is below the limit again"' in running.log(),
            "the end of the problem",
        )

    def test_idle_connection_is_closed_after_keep_alive_timeout(self, start: Start) -> None:
        running = start(keep_alive_timeout=0.1, request_timeout=3)
        with running.connect() as connection:
            connection.sendall(request())
            assert answer(connection)[0] == 200
            with running.connect() as silent:
                assert not is_reset(connection)
                # Closed because of its own limit: that of this one, which began later, is not over.
                silent.sendall(request())
                assert answer(silent)[0] == 200

    def test_keep_alive_timeout_is_longer_than_that_of_prometheus(self) -> None:
        assert ServerLimits().keep_alive_timeout > 300
