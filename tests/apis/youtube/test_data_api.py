"""YouTube Data API v3 by its contract."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube.catalog import CHANNELS, DEMO, EMPTY, SECOND, VIDEOS
from local_cloud.apis.youtube.figures import days, final
from tests.apis.youtube.conftest import Ask

LISTS = "/youtube/v3/channels", "/youtube/v3/playlistItems", "/youtube/v3/videos"
CHANNEL, UPLOADS, VIDEO = LISTS
SEARCH = "/youtube/v3/search"
FIND = {"part": "snippet", "type": "video", "order": "date", "maxResults": "50"}


def reason(reply: Any) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["errors"][0]["reason"]


def ids(reply: Any) -> list[str]:
    assert reply.status == 200, reply.body
    return [item["contentDetails"]["videoId"] for item in reply.json()["items"]]


class TestChannels:
    def test_the_accounts_own_names_its_uploads(self, ask: Ask) -> None:
        reply = ask(CHANNEL, part="contentDetails,statistics", mine="true")
        answer = reply.json()
        assert answer["kind"] == "youtube#channelListResponse"
        assert answer["pageInfo"] == {"totalResults": 1, "resultsPerPage": 5}
        (channel,) = answer["items"]
        assert channel.keys() == {"kind", "etag", "id", "contentDetails", "statistics"}
        assert channel["id"] == DEMO.id
        assert channel["contentDetails"]["relatedPlaylists"]["uploads"] == DEMO.uploads
        assert channel["statistics"]["videoCount"] == "200"

    def test_several_by_id_without_those_that_are_not(self, ask: Ask) -> None:
        reply = ask(CHANNEL, part="snippet", id=f"{SECOND.id},UCnobody0000000000000000,{DEMO.id}")
        assert [item["id"] for item in reply.json()["items"]] == [SECOND.id, DEMO.id]

    def test_none_at_all_has_no_items(self, ask: Ask) -> None:
        answer = ask(CHANNEL, part="snippet", id="UCnobody0000000000000000").json()
        assert "items" not in answer
        assert answer["pageInfo"]["totalResults"] == 0

    @pytest.mark.parametrize("handle", ["windrowsecond", "@windrowsecond", "@WindrowSecond"])
    def test_by_handle(self, ask: Ask, handle: str) -> None:
        assert ask(CHANNEL, part="id", forHandle=handle).json()["items"][0]["id"] == SECOND.id

    @pytest.mark.parametrize(
        ("query", "why"),
        [
            ({"mine": "true"}, "required"),
            ({"part": "id"}, "missingRequiredParameter"),
            ({"part": "id", "mine": "true", "id": "UCx"}, "incompatibleParameters"),
            ({"part": "id", "mine": "yes"}, "invalidParameter"),
            ({"part": "id,everything", "mine": "true"}, "unknownPart"),
            ({"part": "id", "mine": "true", "maxResults": 51}, "invalidParameter"),
            ({"part": "id", "mine": "true", "forUsername": "x"}, "badRequest"),
        ],
    )
    def test_a_wrong_question_is_refused(self, ask: Ask, query: dict[str, Any], why: str) -> None:
        assert reason(ask(CHANNEL, **query)) == (400, why)


class TestUploads:
    def test_pages_hold_every_video_once_newest_first(self, ask: Ask) -> None:
        seen: list[str] = []
        token: dict[str, str] = {}
        sizes = []
        while True:
            reply = ask(UPLOADS, part="contentDetails", playlistId=DEMO.uploads, maxResults=50, **token)
            seen += ids(reply)
            sizes.append(len(reply.json()["items"]))
            assert reply.json()["pageInfo"] == {"totalResults": 200, "resultsPerPage": 50}
            if "nextPageToken" not in reply.json():
                break
            token = {"pageToken": reply.json()["nextPageToken"]}
        assert sizes == [50, 50, 50, 50]
        assert seen == [video.id for video in reversed(DEMO.videos)]

    def test_a_page_leads_back(self, ask: Ask) -> None:
        query = {"part": "contentDetails", "playlistId": DEMO.uploads}
        first = ask(UPLOADS, **query).json()
        assert "prevPageToken" not in first
        assert len(first["items"]) == 5, "five unless told otherwise"
        second = ask(UPLOADS, **query, pageToken=first["nextPageToken"]).json()
        assert ask(UPLOADS, **query, pageToken=second["prevPageToken"]).json() == first

    def test_an_item_names_its_video_and_place(self, ask: Ask) -> None:
        answer = ask(UPLOADS, part="snippet,contentDetails", playlistId=SECOND.uploads).json()
        for place, (item, video) in enumerate(zip(answer["items"], reversed(SECOND.videos), strict=True)):
            assert item["snippet"]["title"] == video.title
            assert item["snippet"]["position"] == place
            assert item["snippet"]["resourceId"] == {"kind": "youtube#video", "videoId": video.id}
            published = datetime.fromisoformat(item["contentDetails"]["videoPublishedAt"])
            assert published == video.published_at

    @pytest.mark.parametrize("playlist", ["UUnobody0000000000000000", EMPTY.uploads, DEMO.id])
    def test_what_is_no_playlist_and_what_is_empty_are_not_found(self, ask: Ask, playlist: str) -> None:
        reply = ask(UPLOADS, part="id", playlistId=playlist)
        assert reason(reply) == (404, "playlistNotFound")
        error = reply.json()["error"]
        assert error["errors"][0]["domain"] == "youtube.playlistItem"
        assert error["errors"][0]["location"] == "playlistId"
        assert "status" not in error

    def test_a_page_token_is_good_for_its_own_playlist(self, ask: Ask) -> None:
        token = ask(UPLOADS, part="id", playlistId=DEMO.uploads).json()["nextPageToken"]
        assert not token.isdecimal()
        assert reason(ask(UPLOADS, part="id", playlistId=SECOND.uploads, pageToken=token)) == (400, "invalidPageToken")

    @pytest.mark.parametrize("token", ["5", "CAUQAA", "🌾", "LTU6VVV4", "_"])
    def test_a_made_up_page_token_is_refused(self, ask: Ask, token: str) -> None:
        assert reason(ask(UPLOADS, part="id", playlistId=DEMO.uploads, pageToken=token)) == (400, "invalidPageToken")

    @pytest.mark.parametrize("size", [51, -1, "many"])
    def test_a_page_has_at_most_50(self, ask: Ask, size: Any) -> None:
        reply = ask(UPLOADS, part="id", playlistId=DEMO.uploads, maxResults=size)
        assert reason(reply) == (400, "invalidParameter")

    def test_what_is_not_out_yet_is_not_there(self, api: FakeApi, ask: Ask) -> None:
        third = SECOND.videos[2]
        api.youtube(now=third.published_at.isoformat())
        query = {"part": "contentDetails", "playlistId": SECOND.uploads}
        assert ids(ask(UPLOADS, **query)) == [video.id for video in reversed(SECOND.videos)]
        api.youtube(now=(third.published_at - timedelta(seconds=1)).isoformat())
        assert ids(ask(UPLOADS, **query)) == [SECOND.videos[1].id, SECOND.videos[0].id]
        assert ask(VIDEO, part="id", id=third.id).json()["items"] == []
        assert ask(CHANNEL, part="statistics", id=SECOND.id).json()["items"][0]["statistics"]["videoCount"] == "2"
        api.youtube(now="2023-01-01T00:00:00Z")
        assert reason(ask(UPLOADS, **query)) == (404, "playlistNotFound")


class TestVideos:
    def test_fifty_at_once_in_the_order_asked(self, ask: Ask) -> None:
        asked = [video.id for video in DEMO.videos[:50]][::-1]
        answer = ask(VIDEO, part="snippet,contentDetails,statistics", id=",".join(asked)).json()
        assert [item["id"] for item in answer["items"]] == asked
        for item in answer["items"]:
            video = VIDEOS[item["id"]]
            assert item["snippet"]["title"] == video.title
            assert item["snippet"]["channelId"] == DEMO.id
            assert datetime.fromisoformat(item["snippet"]["publishedAt"]) == video.published_at
            assert item["contentDetails"]["duration"].startswith("PT")

    def test_51_are_too_many(self, ask: Ask) -> None:
        asked = ",".join(video.id for video in DEMO.videos[:51])
        assert reason(ask(VIDEO, part="id", id=asked)) == (400, "invalidFilters")

    def test_counts_are_texts_and_the_sum_of_all_days_so_far(self, ask: Ask) -> None:
        video = next(each for each in DEMO.videos if not each.likes_hidden and not each.comments_off)
        (item,) = ask(VIDEO, part="statistics", id=video.id).json()["items"]
        so_far = [final(video, day) for day in days(video.first_day, datetime(2026, 11, 19, tzinfo=UTC).date())]
        assert item["statistics"] == {
            "viewCount": str(sum(day.views for day in so_far if day)),
            "likeCount": str(sum(day.likes for day in so_far if day)),
            "favoriteCount": "0",
            "commentCount": str(sum(day.comments for day in so_far if day)),
        }

    def test_hidden_counts_are_not_there(self, ask: Ask) -> None:
        asked = ",".join(video.id for video in DEMO.videos if video.likes_hidden or video.comments_off)
        items = ask(VIDEO, part="statistics", id=asked).json()["items"]
        assert len(items) > 5
        for item in items:
            video = VIDEOS[item["id"]]
            assert ("likeCount" in item["statistics"]) == (not video.likes_hidden)
            assert ("commentCount" in item["statistics"]) == (not video.comments_off)

    def test_unknown_ids_are_left_out_without_a_word(self, ask: Ask) -> None:
        reply = ask(VIDEO, part="id", id=f"nothingthat,{DEMO.videos[0].id},{DEMO.videos[0].id}")
        assert [item["id"] for item in reply.json()["items"]] == [DEMO.videos[0].id]

    def test_the_etag_changes_with_the_video(self, api: FakeApi, ask: Ask) -> None:
        query = {"part": "statistics", "id": DEMO.videos[0].id}
        today, again = ask(VIDEO, **query).json(), ask(VIDEO, **query).json()
        api.youtube(now="2026-11-21T12:00:00-08:00")
        tomorrow = ask(VIDEO, **query).json()
        assert today == again
        assert today["etag"] != tomorrow["etag"]
        assert today["items"][0]["etag"] != tomorrow["items"][0]["etag"]


class TestVanished:
    def test_a_deleted_video_is_listed_and_not_to_be_had(self, api: FakeApi, ask: Ask) -> None:
        gone, kept = SECOND.videos[0], SECOND.videos[1]
        api.youtube(vanished=[gone.id])
        listed = ask(UPLOADS, part="snippet,contentDetails", playlistId=SECOND.uploads)
        assert ids(listed) == [video.id for video in reversed(SECOND.videos)]
        entry = listed.json()["items"][-1]
        assert entry["snippet"]["title"] == "Deleted video"
        assert entry["contentDetails"] == {"videoId": gone.id}
        found = ask(VIDEO, part="id", id=f"{gone.id},{kept.id}").json()
        assert [item["id"] for item in found["items"]] == [kept.id]


class TestSearch:
    def test_it_finds_by_words_of_the_title_newest_first(self, ask: Ask) -> None:
        answer = ask(SEARCH, **FIND, q="SCYTHE build", channelId=DEMO.id).json()
        found = [item["id"]["videoId"] for item in answer["items"]]
        expected = [video.id for video in reversed(DEMO.videos) if video.title == "Scythe: the whole build"]
        assert found == expected
        assert expected

    def test_it_pages(self, ask: Ask) -> None:
        first = ask(SEARCH, **FIND).json()
        assert first["pageInfo"] == {"totalResults": 203, "resultsPerPage": 50}
        second = ask(SEARCH, **FIND, pageToken=first["nextPageToken"]).json()
        both = [item["id"]["videoId"] for item in first["items"] + second["items"]]
        assert len(set(both)) == 100
        other = ask(SEARCH, **FIND, q="hay", pageToken=first["nextPageToken"])
        assert reason(other) == (400, "invalidPageToken")

    @pytest.mark.parametrize("change", [{"type": "channel"}, {"type": ""}, {"order": "viewCount"}])
    def test_what_it_cannot_do_it_refuses(self, ask: Ask, change: dict[str, str]) -> None:
        assert reason(ask(SEARCH, **FIND | change)) == (400, "invalidParameter")

    def test_the_deleted_is_not_found(self, api: FakeApi, ask: Ask) -> None:
        api.youtube(vanished=[SECOND.videos[0].id])
        assert len(ask(SEARCH, **FIND, channelId=SECOND.id).json()["items"]) == 2


def test_all_channels_can_be_walked(ask: Ask) -> None:
    """As a harvest does it: channel, uploads, details."""
    for channel in CHANNELS.values():
        (found,) = ask(CHANNEL, part="contentDetails", id=channel.id).json()["items"]
        uploads = found["contentDetails"]["relatedPlaylists"]["uploads"]
        reply = ask(UPLOADS, part="contentDetails", playlistId=uploads, maxResults=50)
        assert (reply.status == 404) == (not channel.videos)
