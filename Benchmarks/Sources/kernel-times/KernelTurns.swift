import Foundation
import PeerBench

/// Two builds of this program, each in processes of its own that take turns, so that whatever drifts
/// hits both alike.
struct KernelTurns {
  /// What a program said that is no line of `--csv`, or that it failed.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// The other build.
  let before: String
  let arguments: [String]

  /// A change for each kernel that both have, by instruction set and dimension.
  func changes(turns: Int) throws -> [BuildChange] {
    var (old, new): ([String: [Double]], [String: [Double]]) = ([:], [:])
    var names: [String] = []
    for turn in 0..<turns {
      // Who comes first alternates.
      for isNew in turn % 2 == 0 ? [false, true] : [true, false] {
        for (name, time) in try times(of: isNew ? "/proc/self/exe" : before) {
          if isNew {
            new[name, default: []].append(time)
          } else {
            old[name, default: []].append(time)
          }
          if !names.contains(name) { names.append(name) }
        }
      }
    }
    return names.map { name in
      BuildChange(name: name, before: old[name] ?? [], after: new[name] ?? [], hasSameBits: nil)
    }
  }

  /// Nanoseconds a call, by kernel.
  private func times(of program: String) throws -> [(name: String, time: Double)] {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: program).resolvingSymlinksInPath()
    process.arguments = arguments
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Failure(description: "\(program): exit status \(process.terminationStatus)")
    }
    return try text.split(separator: "\n").map { line in
      // A kernel's name has commas of its own.
      guard let comma = line.lastIndex(of: ","),
        let time = Double(line[line.index(after: comma)...])
      else { throw Failure(description: "\(program): not a line of --csv: \(line)") }
      return (line[..<comma].split(separator: ",").joined(separator: ", "), time)
    }
  }
}
