import Foundation

/// attnbench at a driver's command: one JSON request a line in, one JSON answer a line out.
///
/// A driver that times several libraries in turn keeps each in a process of its own; this is ours.
/// What is timed is timed here, around the call alone, so that the pipe costs nothing.
@main
enum AttentionWorker {
  static func main() throws {
    var worker = try Worker()
    while let line = readLine() {
      let answer: any Encodable
      do {
        answer = try serve(Data(line.utf8), &worker)
      } catch {
        answer = Refusal(error: "\(error)")
      }
      try FileHandle.standardOutput.write(contentsOf: encoded(answer))
    }
  }

  private static func serve(_ line: Data, _ worker: inout Worker) throws -> any Encodable {
    let decoder = JSONDecoder()
    switch try decoder.decode(Request.self, from: line).command {
    case .describe:
      return worker.describe(try decoder.decode(Request.Describe.self, from: line))
    case .prepare:
      return try worker.prepare(try decoder.decode(Request.Prepare.self, from: line))
    case .run:
      return try worker.run(try decoder.decode(Request.Run.self, from: line))
    case .save:
      return try worker.save(try decoder.decode(Request.Save.self, from: line))
    case .peak:
      return try worker.peak(try decoder.decode(Request.Peak.self, from: line))
    case .bandwidth:
      return try worker.bandwidth()
    }
  }

  /// Dates as `meta.json` has them.
  private static func encoded(_ answer: any Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .iso8601
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(answer) + Data("\n".utf8)
  }
}
