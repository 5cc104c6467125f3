/// Messages of any length to and from one rank, for whoever does not want to wait: each goes as its length
/// and its bytes.
package final class Mailbox {
  package let peer: Int
  private let communicator: Communicator
  private var outgoing: [Letter] = []
  private var length: Letter?
  private var body: Letter?

  /// A part of a message under way, in memory that MPI may use until it is done.
  private struct Letter {
    let memory: UnsafeMutableRawBufferPointer
    var message: Message
  }

  private static let lengthTag = 29_010
  private static let bodyTag = 29_011

  package init(_ communicator: Communicator, peer: Int) {
    self.communicator = communicator
    self.peer = peer
  }

  /// Begins to send a message of at least a byte.
  ///
  /// - Throws: as `Communicator.send`.
  package func post(_ bytes: [UInt8]) throws(MessagePassingError) {
    let count = withUnsafeBytes(of: Int64(bytes.count)) { Array($0) }
    for (part, tag) in [(count, Self.lengthTag), (bytes, Self.bodyTag)] {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: part.count, alignment: 8)
      memory.copyBytes(from: part)
      outgoing.append(
        Letter(
          memory: memory,
          message: try communicator.send(UnsafeRawBufferPointer(memory), to: peer, tag: tag)))
    }
  }

  /// Whether all that was posted has gone; asking makes it go.
  ///
  /// - Throws: as `Communicator.isDone`.
  package func hasGone() throws(MessagePassingError) -> Bool {
    while var letter = outgoing.first {
      guard try communicator.isDone(&letter.message) else {
        outgoing[0] = letter
        return false
      }
      letter.memory.deallocate()
      outgoing.removeFirst()
    }
    return true
  }

  /// The next message, once all of it is here. To be asked only while one is to come: the first question
  /// begins to receive it.
  ///
  /// - Throws: as `Communicator.receive`.
  package func next() throws(MessagePassingError) -> [UInt8]? {
    if body == nil {
      guard let count = try take(&length, orReceive: 8, Self.lengthTag) else { return nil }
      let bytes = count.withUnsafeBytes { Int($0.loadUnaligned(as: Int64.self)) }
      return try take(&body, orReceive: bytes, Self.bodyTag)
    }
    return try take(&body, orReceive: 0, Self.bodyTag)
  }

  /// The bytes of a part that has come; what has not been begun is.
  private func take(
    _ part: inout Letter?, orReceive count: Int, _ tag: Int
  ) throws(MessagePassingError) -> [UInt8]? {
    var letter: Letter
    if let begun = part {
      letter = begun
    } else {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
      letter = Letter(
        memory: memory, message: try communicator.receive(into: memory, from: peer, tag: tag))
    }
    guard try communicator.isDone(&letter.message) else {
      part = letter
      return nil
    }
    part = nil
    defer { letter.memory.deallocate() }
    return Array(letter.memory)
  }
}
