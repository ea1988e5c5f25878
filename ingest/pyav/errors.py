"""FFmpeg's errors in words that say what to do; its own hold the URL with its login."""

from av import error

from common.errors import CameraError, CameraRefusal, LoginRefused


def camera_error(exc: error.FFmpegError, what: str, check: str, playing: bool) -> CameraError:
    """What `exc` means; `what` is the source in words, `check` what may be wrong with it.

    `playing`: it was opened, and failed later.
    """
    match exc:
        case error.HTTPUnauthorizedError():
            return LoginRefused(
                f"{what} wants another login (HTTP 401); check user name and password in its URL"
            )
        case error.HTTPForbiddenError():
            return CameraRefusal(f"{what} forbids this (HTTP 403); check what the user is allowed to see")
        case error.HTTPNotFoundError():
            return CameraRefusal(f"{what} has nothing at this path (HTTP 404); check the path of its URL")
        case error.HTTPBadRequestError() | error.HTTPOtherClientError():
            return CameraRefusal(f"{what} refuses the request: {exc.strerror}; check its URL")
        case error.HTTPTooManyRequestsError():
            return CameraError(f"{what} is asked too often (HTTP 429)")
        case error.FileNotFoundError():
            return CameraRefusal(f"{what} does not exist; check the path")
        case error.PermissionError():
            return CameraRefusal(f"{what} may not be read by this process; check its owner and mode")
        case error.IsADirectoryError():
            return CameraRefusal(f"{what} is a folder; name a file in it")
        case error.InvalidDataError() | error.ArgumentError() | error.ProtocolNotFoundError() if not playing:
            return CameraRefusal(
                f"{what} sends nothing that can be read as video: FLV, MPEG-TS, HLS, MP4 and Matroska can; "
                "check the path, and that a playlist names nothing but HTTP"
            )
        case error.ConnectionRefusedError():
            return CameraError(f"{what} refuses connections; check the port")
        case error.TimeoutError() | error.ExitError():
            if playing:
                return CameraError(f"{what} went silent")
            return CameraError(f"{what} does not answer in time; check its address and power")
    if playing:
        return CameraError(f"{what} ended the stream: {exc.strerror}")
    return CameraError(f"{what} cannot be reached: {exc.strerror}; check {check}")
