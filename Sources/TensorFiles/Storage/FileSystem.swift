import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The system calls that change what is on disk. A test hands in one whose calls fail.
package protocol FileSystem {
  /// `open(2)` for writing.
  func open(
    _ path: FilePath, _ options: FileDescriptor.OpenOptions, _ permissions: FilePermissions
  ) throws(Errno) -> FileDescriptor
  /// Gives a file the owner and the permissions of the one that it is to replace.
  func copyAttributes(of status: Stat, to file: FileDescriptor) throws(Errno)
  /// `write(2)`: takes a part of `bytes`, from their start.
  func write(_ bytes: UnsafeRawBufferPointer, to file: FileDescriptor) throws(Errno) -> Int
  /// `fsync(2)`. What cannot be synchronised, such as a pipe, is let pass.
  func synchronize(_ file: FileDescriptor) throws(Errno)
  /// The same for the names in a directory.
  func synchronizeDirectory(_ path: FilePath) throws(Errno)
  /// `close(2)`.
  func close(_ file: FileDescriptor) throws(Errno)
  /// `link(2)`: a second name for a file.
  func addName(_ other: FilePath, to path: FilePath) throws(Errno)
  /// `rename(2)`: what stood at `other` is replaced, at no moment is there nothing.
  func move(_ path: FilePath, to other: FilePath) throws(Errno)
  /// `unlink(2)`.
  func remove(_ path: FilePath) throws(Errno)
  /// `mkdir(2)`.
  func createDirectory(_ path: FilePath) throws(Errno)
  /// `rmdir(2)`.
  func removeDirectory(_ path: FilePath) throws(Errno)
}

/// The file system of this machine.
package struct HostFileSystem: FileSystem {
  package init() {}

  package func open(
    _ path: FilePath, _ options: FileDescriptor.OpenOptions, _ permissions: FilePermissions
  ) throws(Errno) -> FileDescriptor {
    try Errno.typed {
      try FileDescriptor.open(path, .writeOnly, options: options, permissions: permissions)
    }
  }

  package func copyAttributes(of status: Stat, to file: FileDescriptor) throws(Errno) {
    // Only root may give files away; for everybody else the new file is his own.
    _ = fchown(file.rawValue, status.userID.rawValue, status.groupID.rawValue)
    try check(fchmod(file.rawValue, status.permissions.rawValue))
  }

  package func write(
    _ bytes: UnsafeRawBufferPointer, to file: FileDescriptor
  ) throws(Errno) -> Int {
    // A pipe that nobody reads any more is an error to report and to clean up after, not the end of
    // the process. The signal comes also where a part was written before, without an error.
    var pipe = sigset_t()
    var before = sigset_t()
    sigemptyset(&pipe)
    sigaddset(&pipe, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &pipe, &before)
    let wasPending = Self.isPending(SIGPIPE)
    defer {
      if !wasPending, Self.isPending(SIGPIPE) {
        var taken: CInt = 0
        sigwait(&pipe, &taken)
      }
      pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    return try Errno.typed { try file.write(bytes) }
  }

  private static func isPending(_ signal: CInt) -> Bool {
    var pending = sigset_t()
    return sigpending(&pending) == 0 && sigismember(&pending, signal) == 1
  }

  package func synchronize(_ file: FileDescriptor) throws(Errno) {
    do throws(Errno) {
      try check(fsync(file.rawValue))
    } catch .invalidArgument, .notSupported {
      return
    }
  }

  package func synchronizeDirectory(_ path: FilePath) throws(Errno) {
    let directory: FileDescriptor
    do throws(Errno) {
      directory = try Errno.typed {
        try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
      }
    } catch .permissionDenied {
      // Files may be made in a directory that may not be read; nobody can synchronise it then.
      return
    }
    defer { try? directory.close() }
    try synchronize(directory)
  }

  package func close(_ file: FileDescriptor) throws(Errno) {
    try Errno.typed { try file.close() }
  }

  package func addName(_ other: FilePath, to path: FilePath) throws(Errno) {
    try check(path.withPlatformString { from in other.withPlatformString { link(from, $0) } })
  }

  package func move(_ path: FilePath, to other: FilePath) throws(Errno) {
    try check(path.withPlatformString { from in other.withPlatformString { rename(from, $0) } })
  }

  package func remove(_ path: FilePath) throws(Errno) {
    try check(path.withPlatformString { unlink($0) })
  }

  package func createDirectory(_ path: FilePath) throws(Errno) {
    try check(path.withPlatformString { mkdir($0, 0o777) })
  }

  package func removeDirectory(_ path: FilePath) throws(Errno) {
    try check(path.withPlatformString { rmdir($0) })
  }

  private func check(_ status: CInt) throws(Errno) {
    guard status == 0 else { throw Errno(rawValue: errno) }
  }
}

extension Errno {
  /// Gives swift-system's untyped errors, which are all `Errno`, their type.
  package static func typed<Result>(_ body: () throws -> Result) throws(Errno) -> Result {
    do {
      return try body()
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
