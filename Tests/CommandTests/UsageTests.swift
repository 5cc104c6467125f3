import Foundation
import MachineTopology
import Testing

/// Command lines that cannot be meant: one line on standard error that names the token, the rule
/// and the fix, nothing on standard output, exit code 64.
@Suite("Bad command lines")
struct UsageTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    let message: String

    init(_ arguments: String..., message: String) {
      self.arguments = arguments
      self.message = message
    }

    var testDescription: String { arguments.joined(separator: " ") }
  }

  static let cases = [
    Case("swep", message: "unknown command 'swep'; did you mean 'sweep'?"),
    Case("list", "--jsn", message: "unknown option '--jsn'; did you mean '--json'?"),
    Case("verify", "--strategy", "flsh", message: "unknown strategy 'flsh'; did you mean 'flash'?"),
    Case("verify", "--strategy", "zzzzzz", message: "known are full, flash, window"),
    Case("verify", "--strategy", "window(8, snks: 2)", message: "did you mean 'sinks'?"),
    Case("verify", "--strategy", "window(0)", message: "window w = 0: must be a whole number"),
    Case("verify", "--strategy", "window(8", message: "closing parenthesis"),
    Case("verify", "--strategy", "full(3)", message: "full takes no parameters"),
    Case("verify", "--n", "0", message: "--n 0: a size is at least 1"),
    Case("verify", "--n", "-7", message: "--n -7: a size is at least 1"),
    Case("verify", "--n", "12kb", message: "unknown suffix 'kb'"),
    Case("verify", "--n", ".5k", message: "a point has digits on both sides; write 0.5k"),
    Case("verify", "--n", "-.5k", message: "a point has digits on both sides; write -0.5k"),
    Case("verify", "--n", "5.k", message: "a point has digits on both sides; write 5k"),
    Case("verify", "--n", ".k", message: "this is no whole number"),
    Case("verify", "--n", "8", "--heads", ".5k", message: "write 0.5k"),
    Case("sweep", "--n", "8", "--budget", ".5s", message: "write 0.5s"),
    Case("sweep", "--n", "8", "--max-memory", ".5GiB", message: "write 0.5GiB"),
    Case("compare", "a", "b", "--min-effect", ".5%", message: "write 0.5%"),
    Case("verify", "--n", "99999999999999999999", message: "this is too large"),
    Case("verify", "--n", "9223372036854775807", message: "positions are 32-bit"),
    Case("verify", "--n", "2k..1k", message: "the range runs downwards; write 1k..2k"),
    Case(
      "verify", "--n", "8", "--heads", "5", "--kv-heads", "2",
      message: "--heads 5: must be a multiple of kv-heads (2)"),
    Case("verify", "--n", "8", "--heads", "0", message: "--heads 0: must be at least 1"),
    Case("verify", "--n", "8", "--heads", "-4", message: "--heads -4: must be at least 1"),
    Case("verify", "--n", "8", "--head-dim", "0", message: "--head-dim 0: must be at least 1"),
    Case("verify", "--n", "8", "--value-dim", "-1", message: "--value-dim -1: must be at least 1"),
    Case("verify", "--n", "8", "--batch", "0", message: "--batch 0: must be at least 1"),
    Case("verify", "--n", "8", "--n-kv", "0", message: "--n-kv 0: a size is at least 1"),
    Case("verify", "--n", "8", "--heads", "99999999999999999999", message: "--heads"),
    Case(
      "verify", "--n", "2G", message: "unknown suffix 'G'"),
    Case(
      "verify", "--n", "2000M", "--heads", "2000000000", "--head-dim", "2000000000",
      message: "its bytes overflow the address space"),
    Case(
      "verify", "--n", "8", "--scale", "1e39", message: "'1e39' is invalid for '--scale <scale>'"),
    Case("verify", "--n", "8", "--scale", "nan", message: "--scale nan: must be a finite number"),
    Case("verify", "--n", "8", "--scale", "inf", message: "--scale inf: must be a finite number"),
    Case(
      "verify", "--n", "8", "--query-offset", "1", "--align", "top-left",
      message: "--query-offset 1: contradicts --align top-left"),
    Case(
      "verify", "--n", "8", "--query-offset", "-9223372036854775808",
      message: "--query-offset -9223372036854775808: must be within"),
    Case("verify", "--n", "8", "--threads", "0", message: "--threads 0: at least 1 worker"),
    Case("sweep", "--n", "8", "--budget", "-1s", message: "--budget -1s:"),
    Case("sweep", "--n", "8", "--max-memory", "-1GiB", message: "--max-memory -1GiB:"),
    Case("recommend", "--n", "-8", message: "--n -8: a size is at least 1"),
    Case("recommend", "--n", "8", "--max-error", "-1", message: "--max-error -1:"),
    Case("verify", "--n", "8", "--threads", "-1", message: "--threads -1: at least 1 worker"),
    Case("verify", "--n", "8", "--threads", "two", message: "no list of whole numbers"),
    Case("verify", "--n", "8", "--threads", "1,2", message: "one thread count"),
    Case("verify", "--n", "8", "--threads", "100000", message: "at most 4096 workers"),
    Case("verify", "--n", "8", "--bind", "core:9999", message: "no core 9999; allowed are cores"),
    Case("verify", "--n", "8", "--bind", "die:0", message: "core, pu, numa or none"),
    Case("verify", "--rows", "0", message: "--rows 0: at least 1 row"),
    Case("verify", "--inputs", "q.npy", message: "a .npy file holds one tensor"),
    Case("run", "--strategy", "flash", message: "missing expected argument '--output"),
    Case("run", "--strategy", "flash", "-o", "o.npy", message: "give --inputs"),
    Case("run", "--strategy", "flash", "-o", "o.npy", "--q", "q.npy", message: "all of --q, --k"),
    Case(
      "run", "--strategy", "flash", "-o", "o.npy", "--inputs", "a.safetensors", "--q", "q.npy",
      message: "leave out --q, --k and --v"),
    Case(
      "run", "--strategy", "flash", "-o", "o.txt", "--inputs", "a.safetensors",
      message: "o.txt: the name must end in .npy or .safetensors"),
    Case(
      "run", "--strategy", "flash", "-o", "o.npy", "--inputs", "a.safetensors", "--dtype", "bf16",
      message: "cannot be written as bfloat16"),
    Case(
      "run", "--strategy", "flash", "-o", "o.npy", "--lse", "o.npy", "--inputs", "a.safetensors",
      message: "--lse o.npy: is the output too"),
    Case(
      "run", "--strategy", "flash", "-o", "o.npy", "--inputs", "a.safetensors:",
      message: "a name must follow the colon"),
    Case("mask", "--strategy", "window(8)", "-n", "0", message: "-n 0: a size is at least 1"),
    Case(
      "mask", "--strategy", "flash", "-n", "8", "-o", "x.txt",
      message: "--output x.txt: the name must end in .svg"),
    Case(
      "mask", "--strategy", "flash", "-n", "8", "-o", "x.png",
      message: "--output x.png: a mask is written as .svg"),
    Case("mask", "--strategy", "windw(8)", "-n", "8", message: "did you mean 'window'?"),
    Case("plot", ".", "--kind", "scalng", message: "did you mean 'scaling'?"),
    Case("compare", "a", message: "missing expected argument '<directory-b>'"),
    Case(
      "compare", "a", "b", "--min-effect", "5", message: "--min-effect 5: this is no percentage"),
    Case("compare", "a", "b", "--min-effect", "-5%", message: "--min-effect -5%:"),
    Case("compare", "a", "b", "--metric", "speed", message: "'time' and 'pct_of_peak'"),
    Case("plot", ".", "--format", "pdf", message: "known are svg, png"),
    Case("sweep", "--n", "0", message: "--n 0: a size is at least 1"),
    Case("sweep", "--n", "64", "--decode", "0", message: "--decode 0: rows of a decoding step"),
    Case("sweep", "--n", "64", "--decode", "--n-kv", "9", message: "--n-kv 9: with --decode"),
    Case("sweep", "--n", "64", "--threads", "0", message: "--threads 0: at least 1 worker"),
    Case("sweep", "--n", "64", "--scale", "nan", message: "--scale nan: must be a finite number"),
    Case("sweep", "--n", "64", "--bind", "core:9999", message: "allowed are cores"),
  ]

  /// Every option that names a file, where a variable of a shell was not set.
  static let paths: [(command: [String], options: [String])] = [
    (
      ["run", "--strategy", "flash"],
      [
        "-o", "--output", "--lse", "--present-k", "--present-v", "--present-state", "--scores",
        "--inputs", "--q", "--k", "--v", "--past-k", "--past-v", "--past-state", "--decay",
        "--mask",
        "--bias", "--key-bias", "--plan", "--cu-seqlens",
      ]
    ),
    (["mask", "--strategy", "flash", "-n", "8"], ["-o", "--inputs", "--plan"]),
    (["report", "out"], ["-o", "--evaluation"]), (["plot", "out"], ["-o"]),
    (["plan", "choice.json"], ["--save", "--plot", "--sensitivity"]),
    (["recommend", "--n", "8"], ["--save", "--record", "--plot", "--inputs", "--sensitivity"]),
    (["sweep", "--n", "8"], ["-o", "--inputs"]), (["retrieve", "--n", "8"], ["-o"]),
    (["verify"], ["--inputs"]),
  ]

  @Test("an empty path is refused with the option that it is of", arguments: paths)
  func emptyPath(command: [String], options: [String]) throws {
    for option in options {
      let result = try AttnbenchProcess.run(command + [option, ""])
      #expect(result.code == 64 && result.errorLines.count == 1, "\(result.error)")
      #expect(result.error.contains("'\(option) <"), "\(result.error)")
      #expect(result.error.contains("it is empty; name a file"), "\(result.error)")
    }
  }

  @Test("are refused in one line", arguments: cases)
  func refused(_ bad: Case) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(bad.arguments, in: directory.root)
    #expect(result.code == 64)
    #expect(result.output.isEmpty)
    #expect(result.errorLines.count == 1, "\(result.error)")
    #expect(result.error.hasPrefix("error: "))
    #expect(result.error.contains(bad.message), "\(result.error)")
    #expect(try directory.contents.isEmpty, "nothing is written")
  }

  @Test("an instruction set that is not here is refused")
  func unusableISA() throws {
    let result = try AttnbenchProcess.run(["list"], environment: ["ATTNBENCH_ISA": "sse9"])
    #expect(result.code == 64)
    #expect(result.error.contains("ATTNBENCH_ISA = sse9"))
    #expect(result.error.contains("portable"))
  }

  private static let allowed = (try? MachineTopology.host())?.allowed.indices ?? []

  @Test(
    "a binding outside the cpuset is refused, and says what is allowed",
    .enabled(if: allowed.count >= 2, "needs two CPUs"))
  func outsideCPUSet() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let (inside, outside) = (Self.allowed[0], Self.allowed[1])
    let result = try AttnbenchProcess.shell(
      "exec taskset -c \(inside) \"$A\" verify --n 8 --threads 1 --bind pu:\(outside)",
      in: directory.root)
    #expect(result.code == 64)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains("outside the cpuset"), "\(result.error)")
    #expect(result.error.contains("PUs \(inside)"), "\(result.error)")
  }
}
