import SystemPackage

/// Where the bytes of one output go.
package struct OutputSink {
  /// What has been taken and, of a pipe, cannot be taken back.
  final class Taken {
    fileprivate(set) var bytes = 0
  }

  let taken = Taken()
  private let system: any FileSystem
  private let file: FileDescriptor

  /// - Parameter file: open for writing; stays the caller's.
  package init(_ file: FileDescriptor, on system: any FileSystem = HostFileSystem()) {
    self.file = file
    self.system = system
  }

  /// Writes all of `bytes`. `write(2)` takes them in one go unless the disk is about to be full, and
  /// asking for the rest is then what tells why.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = try system.write(UnsafeRawBufferPointer(rebasing: rest), to: file)
      guard count > 0 else { throw .ioError }
      taken.bytes += count
      rest = rest.dropFirst(count)
    }
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: [UInt8]) throws(Errno) {
    try bytes.span.bytes.withUnsafeBytes { bytes throws(Errno) in try write(bytes) }
  }
}

/// One output of a command: where it goes and what it will hold.
public struct OutputFile {
  /// As the caller names it, in messages too.
  public let path: String
  let content: (OutputSink) throws(Errno) -> Void

  /// - Parameter content: writes everything from the first byte to the last.
  package init(_ path: String, content: @escaping (OutputSink) throws(Errno) -> Void) {
    self.path = path
    self.content = content
  }

  public init(_ path: String, _ bytes: [UInt8]) {
    self.init(path) { sink throws(Errno) in try sink.write(bytes) }
  }

  public init(_ path: String, _ text: String) {
    self.init(path, Array(text.utf8))
  }
}
