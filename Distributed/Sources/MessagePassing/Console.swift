import Glibc

/// Lines that are out at once: whoever ends a rank by a signal loses what C's streams still hold.
public enum Console {
  /// Data, to stdout.
  public static func print(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

  /// Messages, to stderr.
  public static func note(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

  private static func write(_ text: String, to file: Int32) {
    var text = text
    text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        guard let base = bytes.baseAddress else { return }
        let count = Glibc.write(file, base + done, bytes.count - done)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return }
        done += count
      }
    }
  }
}
