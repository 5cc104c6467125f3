import Foundation
import TensorFiles
import Testing

/// Files that cannot be read, do not fit or cannot be written: one line, exit code 1, and no output
/// file, whole or partial.
@Suite("Bad files")
struct FileFailureTests {
  /// How to spoil one of the good files of `TestTensors`, and what is said of it.
  struct Damage: Sendable, CustomTestStringConvertible {
    let name: String
    let file: String
    let message: String
    let spoil: @Sendable (Data) -> Data

    var testDescription: String { name }

    /// A safetensors file with the given header and so many zero bytes behind it.
    static func safetensors(_ header: String, bytes: Int) -> Data {
      withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        + Data(header.utf8) + Data(count: bytes)
    }

    static func npy(_ data: Data, replacing text: String, with other: String) -> Data {
      guard let range = data.range(of: Data(text.utf8)) else { return Data() }
      var copy = data
      // Same length, so that the header keeps its own.
      copy.replaceSubrange(range, with: Data(other.utf8.prefix(text.utf8.count)))
      return copy
    }
  }

  static let damages = [
    Damage(name: "empty npy", file: "k.npy", message: "k.npy: ") { _ in Data() },
    Damage(name: "no npy", file: "k.npy", message: "k.npy: ") { _ in Data("hello, world".utf8) },
    Damage(name: "npy cut in its header", file: "k.npy", message: "is truncated") {
      $0.prefix(40)
    },
    Damage(name: "npy cut in its data", file: "k.npy", message: "is truncated") { $0.dropLast(4) },
    Damage(name: "npy with bytes left over", file: "k.npy", message: "has bytes left over") {
      $0 + Data(count: 4)
    },
    Damage(name: "npy that claims 2^60 rows", file: "k.npy", message: "k.npy: ") {
      Damage.npy($0, replacing: "(2, 9, 5), }        ", with: "(1152921504606846976,)}")
    },
    Damage(name: "npy of integers", file: "k.npy", message: "float32") {
      Damage.npy($0, replacing: "<f4", with: "<i4")
    },
    Damage(name: "npy in column order", file: "k.npy", message: "column-major") {
      Damage.npy($0, replacing: "False", with: "True ")
    },
    Damage(name: "npy of rank 2", file: "k.npy", message: "--k k.npy has shape [18, 5]") {
      Damage.npy($0, replacing: "(2, 9, 5)", with: "(18, 5)  ")
    },
    Damage(name: "keys of another dimension", file: "k.npy", message: "the head dimension must") {
      Damage.npy($0, replacing: "(2, 9, 5)", with: "(2, 5, 9)")
    },
    Damage(name: "key heads that do not divide", file: "k.npy", message: "--k k.npy ") {
      Damage.npy($0, replacing: "(2, 9, 5)", with: "(6, 3, 5)")
    },
    Damage(name: "values of another length", file: "v.npy", message: "the key length must agree") {
      Damage.npy($0, replacing: "(2, 9, 5)", with: "(2, 5, 9)")
    },
    Damage(name: "values of other heads", file: "v.npy", message: "key/value heads must agree") {
      Damage.npy($0, replacing: "(2, 9, 5)", with: "(9, 2, 5)")
    },
    Damage(name: "queries that are empty", file: "q.npy", message: "every size must be at least 1")
    {
      let cut = Damage.npy($0, replacing: "(2, 9, 5)", with: "(2, 0, 5)")
      return cut.dropLast(2 * 9 * 5 * 4)
    },
    Damage(name: "empty safetensors", file: "qkv.safetensors", message: "qkv.safetensors: ") { _ in
      Data()
    },
    Damage(name: "safetensors cut in its header", file: "qkv.safetensors", message: "truncated") {
      $0.prefix(60)
    },
    Damage(name: "safetensors cut in its data", file: "qkv.safetensors", message: "truncated") {
      $0.dropLast(8)
    },
    Damage(
      name: "a header length of 2^63", file: "qkv.safetensors", message: "qkv.safetensors: "
    ) {
      Data([0, 0, 0, 0, 0, 0, 0, 0x80]) + $0.dropFirst(8)
    },
    Damage(name: "offsets past the end", file: "qkv.safetensors", message: "ends at data byte") {
      _ in
      Damage.safetensors(
        #"{"q":{"dtype":"F32","shape":[1,1,4],"data_offsets":[0,16]}}"#, bytes: 8)
    },
    Damage(name: "overlapping tensors", file: "qkv.safetensors", message: "share bytes") { _ in
      Damage.safetensors(
        #"{"q":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]},"#
          + #""k":{"dtype":"F32","shape":[1,1,2],"data_offsets":[4,12]}}"#, bytes: 12)
    },
    Damage(name: "a shape of 2^60", file: "qkv.safetensors", message: "qkv.safetensors: ") { _ in
      Damage.safetensors(
        #"{"q":{"dtype":"F32","shape":[1152921504606846976,4],"data_offsets":[0,16]}}"#, bytes: 16)
    },
    Damage(name: "a file without v", file: "qkv.safetensors", message: "holds no 'k', 'v'") { _ in
      Damage.safetensors(
        #"{"q":{"dtype":"F32","shape":[1,1,4],"data_offsets":[0,16]}}"#, bytes: 16)
    },
  ]

  @Test("are refused in one line", arguments: damages)
  func damaged(_ damage: Damage) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors().write(to: directory)
    let path = URL(fileURLWithPath: directory.path(damage.file))
    let good = try Data(contentsOf: path)
    let bad = damage.spoil(good)
    #expect(bad != good)
    try bad.write(to: path)
    let inputs =
      damage.file.hasSuffix(".npy")
      ? ["--q", "q.npy", "--k", "k.npy", "--v", "v.npy"] : ["--inputs", "qkv.safetensors"]
    let before = try directory.contents
    let result = try AttnbenchProcess.run(
      ["run"] + inputs + ["--strategy", "flash", "-o", "o.npy"], in: directory.root)
    expectFailure(result, damage.message)
    #expect(try directory.contents == before)
  }

  @Test("a prefix that is not there gets the nearest one")
  func prefix() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors().write(to: directory)
    for command in [["run", "-o", "o.npy"], ["verify"]] {
      expectFailure(
        try AttnbenchProcess.run(
          command + ["--inputs", "qkv.safetensors:layr7", "--strategy", "flash"],
          in: directory.root),
        "did you mean 'layer7'?")
    }
  }

  @Test("a file that is not there is named")
  func missing() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    expectFailure(
      try AttnbenchProcess.run(
        ["run", "--inputs", "none.safetensors", "--strategy", "flash", "-o", "o.npy"],
        in: directory.root),
      "none.safetensors: cannot open: No such file")
  }

  @Test(
    "outputs that cannot be written",
    arguments: [
      ("nowhere/o.npy", "the directory must exist"),
      ("q.npy/o.npy", "a part of the path is a file"),
      ("full.npy", "No space left on device"), ("folder.npy", "is a directory"),
    ])
  func unwritable(_ output: String, _ message: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors().write(to: directory)
    let files = FileManager.default
    try files.createSymbolicLink(
      atPath: directory.path("full.npy"), withDestinationPath: "/dev/full")
    try files.createDirectory(
      atPath: directory.path("folder.npy"), withIntermediateDirectories: false)
    let before = try directory.contents
    expectFailure(
      try AttnbenchProcess.run(
        ["run", "--inputs", "qkv.safetensors", "--strategy", "flash", "-o", output],
        in: directory.root),
      message)
    #expect(try directory.contents == before)
  }

  @Test("an LSE that cannot be written takes the output with it")
  func unwritableLSE() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors().write(to: directory)
    let before = try directory.contents
    expectFailure(
      try AttnbenchProcess.run(
        [
          "run", "--inputs", "qkv.safetensors", "--strategy", "flash", "-o", "o.npy", "--lse",
          "nowhere/lse.npy",
        ], in: directory.root),
      "nowhere/lse.npy: cannot write")
    #expect(try directory.contents == before)
  }

  @Test("a file size limit fails the write and leaves nothing")
  func sizeLimit() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 4, n: 100, dimension: 64).write(to: directory)
    let before = try directory.contents
    // One block, 512 or 1024 bytes, is less than any output here.
    expectFailure(
      try AttnbenchProcess.shell(
        "ulimit -f 1; \"$A\" run --inputs qkv.safetensors --strategy flash -o o.npy 2>&1 | cat >&2;"
          + "test ! -e o.npy && exit 1",
        in: directory.root),
      "o.npy: cannot write: File too large")
    #expect(try directory.contents == before)
  }

  @Test(
    "a full standard output is a failure",
    arguments: ["list", "list --json", "--help", "topo", "mask --strategy flash -n 8"])
  func fullOutput(_ command: String) throws {
    expectFailure(
      try AttnbenchProcess.shell("\"$A\" \(command) > /dev/full", in: "/"),
      "cannot write to standard output: No space left on device")
  }

  @Test("a sweep into a directory that cannot be made")
  func sweepDirectory() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Data().write(to: URL(fileURLWithPath: directory.path("file")))
    let result = try AttnbenchProcess.run(
      ["sweep", "--n", "16", "--strategy", "flash", "-o", "file/out"], in: directory.root)
    expectFailure(result, "cannot create directory file/out")
  }

  @Test("a sweep whose disk is full says so")
  func sweepOnFullDisk() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.shell(
      "ulimit -f 1; \"$A\" sweep --n 16,32,64 --strategy full,flash,window,strided,linear "
        + "--min-samples 9 -o out 2>&1 >/dev/null | grep ^error >&2; exit 1", in: directory.root)
    expectFailure(result, "File too large")
  }

  private func expectFailure(_ result: AttnbenchProcess.Result, _ message: String) {
    #expect(result.code == 1, "\(result.error)")
    #expect(result.errorLines.count == 1, "\(result.error)")
    #expect(result.errorLines.first?.hasPrefix("error: ") == true, "\(result.error)")
    #expect(result.error.contains(message), "\(result.error)")
  }
}
