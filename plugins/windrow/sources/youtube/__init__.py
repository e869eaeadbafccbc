"""YouTube: everything that only this API has. ``STREAMS`` names the class of each dataset."""

STREAMS = {
    "youtube_videos": "windrow.sources.youtube.streams:Videos",
    "youtube_video_days": "windrow.sources.youtube.streams:VideoDays",
}
