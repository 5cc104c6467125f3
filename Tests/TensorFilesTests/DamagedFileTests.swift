import TensorFiles
import Testing

/// Thousands of damaged files: each is read or refused, none ends the process.
@Suite struct DamagedFileTests {
  static let rounds = 2000

  @Test func npy() throws {
    let directory = try TemporaryDirectory()
    let valid = try bytes(of: Fixtures.npy("float32"))
    let (read, refused) = try survive(valid, seed: 3) { damaged in
      let path = try directory.file("x.npy", damaged)
      return try NpyFile.read(path).values
    }
    // Damage to the data is a valid file, damage to the header is not.
    #expect(read > 0 && refused > read && read + refused == Self.rounds)
  }

  @Test func safetensors() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path("valid.safetensors")
    let tensor = try HostTensor([2, 3], [1, 2, 3, 4, 5, 6])
    try SafetensorsFile.write(
      [NamedTensor("a.q", tensor), NamedTensor("a.k", tensor, as: .bfloat16)],
      metadata: ["k": "v"], to: path)
    let (read, refused) = try survive(bytes(of: path), seed: 4) { damaged in
      let file = try SafetensorsFile(try directory.file("x.safetensors", damaged))
      return try file.tensorNames.flatMap { try file.read($0).values }
    }
    #expect(read > 0 && refused > read && read + refused == Self.rounds)
  }

  /// Reads `rounds` damaged copies of `valid`. An error other than `TensorFileError` is thrown on.
  private func survive(
    _ valid: [UInt8], seed: UInt64, read: ([UInt8]) throws -> [Float]
  ) throws -> (read: Int, refused: Int) {
    var random = SplitMix64(state: seed)
    var counts = (read: 0, refused: 0)
    for _ in 0..<Self.rounds {
      do {
        _ = try read(damage(valid, &random))
        counts.read += 1
      } catch let error as TensorFileError {
        #expect(!error.description.isEmpty)
        counts.refused += 1
      }
    }
    return counts
  }

  private func damage(_ valid: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
    var bytes = valid
    let position = Int.random(in: 0..<bytes.count, using: &random)
    switch Int.random(in: 0..<6, using: &random) {
    case 0:
      bytes.removeLast(bytes.count - position)
    case 1:
      bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
    case 2:
      bytes.remove(at: position)
    case 3:
      let end = min(position + 8, bytes.count)
      bytes.replaceSubrange(position..<end, with: repeatElement(0xFF, count: end - position))
    case 4:
      bytes[position] = UInt8(ascii: "9")
    default:
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let flipped = Int.random(in: 0..<bytes.count, using: &random)
        bytes[flipped] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
    }
    return bytes
  }
}
