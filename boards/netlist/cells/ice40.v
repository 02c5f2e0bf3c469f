// Memories of the iCE40. Yosys ships models of them, which are kinder than hardware need be.
//
// What a data sheet leaves open gives noise here: a read of the word that is written in the same
// clock, the contents of a SPRAM at power-up, its output after a write.

// Block RAM of 4,096 bits: one port to write, one to read, 2, 4, 8 or 16 bits wide each.
//
// Bits of a narrow word lie apart: a word of 8 bits has every second bit of a row of 16, from bit
// ADDR[8] on; of 4 bits every fourth, from ADDR[9:8]; of 2 bits every eighth, from ADDR[10:8].
// MASK is for 16 bits only, a one protects its bit.
module SB_RAM40_4K(
  output [15:0] RDATA,
  input RCLK, RCLKE, RE, input [10:0] RADDR,
  input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter WRITE_MODE = 0;
  parameter READ_MODE = 0;
  parameter INIT_FILE = "";
  parameter [255:0] INIT_0 = 0, INIT_1 = 0, INIT_2 = 0, INIT_3 = 0, INIT_4 = 0, INIT_5 = 0;
  parameter [255:0] INIT_6 = 0, INIT_7 = 0, INIT_8 = 0, INIT_9 = 0, INIT_A = 0, INIT_B = 0;
  parameter [255:0] INIT_C = 0, INIT_D = 0, INIT_E = 0, INIT_F = 0;

  generate
    if (INIT_FILE != "")
      parameter_of_SB_RAM40_4K_without_model error();
  endgenerate

  reg [15:0] memory [0:255];
  wire [4095:0] contents = {
    INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
    INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
  };
  integer k;
  initial for (k = 0; k < 256; k = k + 1) memory[k] = contents[16 * k +: 16];

  // The bits of a row that belong to a word.
  function [15:0] lanes(input integer mode, input [2:0] part);
    case (mode)
      0: lanes = 16'hffff;
      1: lanes = 16'h5555 << part[0];
      2: lanes = 16'h1111 << part[1:0];
      default: lanes = 16'h0101 << part;
    endcase
  endfunction

  wire [15:0] writes = lanes(WRITE_MODE, WADDR[10:8]) & (WRITE_MODE == 0 ? ~MASK : 16'hffff);
  wire [15:0] reads = lanes(READ_MODE, RADDR[10:8]);

  // A narrow word takes one bit of the bus for each 2, 4 or 8 bits of the row: the first of two,
  // the second of four, the fourth of eight.
  function [15:0] spread(input integer mode, input [15:0] data);
    integer i, group;
    group = 1 << mode;
    for (i = 0; i < 16; i = i + 1)
      spread[i] = mode == 0 ? data[i] : data[i / group * group + group / 2 - 1];
  endfunction

  function [15:0] gathered(input integer mode, input [15:0] taken);
    integer i, group, to;
    group = 1 << mode;
    gathered = mode == 0 ? taken : 16'd0;
    if (mode != 0)
      for (i = 0; i < 16; i = i + 1) begin
        to = i / group * group + group / 2 - 1;
        gathered[to] = gathered[to] | taken[i];
      end
  endfunction

  wire write = WE & WCLKE;
  wire meet = write && RCLK == WCLK && RADDR[7:0] == WADDR[7:0] && (reads & writes) != 0;
  reg [15:0] noise = 16'hace1;
  reg [15:0] row = 0;
  always @(posedge WCLK)
    if (write)
      memory[WADDR[7:0]] <=
        (memory[WADDR[7:0]] & ~writes) | (spread(WRITE_MODE, WDATA) & writes);
  always @(posedge RCLK)
    if (RE & RCLKE) begin
      row <= (meet ? noise : memory[RADDR[7:0]]) & reads;
      noise <= {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};
    end
  assign RDATA = gathered(READ_MODE, row);
endmodule

// 16,384 words of 16 bits, one port; MASKWREN enables groups of four bits.
module SB_SPRAM256KA(
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
  input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
  output reg [15:0] DATAOUT
);
  reg [15:0] memory [0:16383];
  reg [15:0] noise = 16'hb400;
  integer k;
  initial begin
    for (k = 0; k < 16384; k = k + 1) memory[k] = 16'h9e37 * k[15:0] + 16'h79b9;
    DATAOUT = 16'h5a3c;
  end

  wire [15:0] writes = {
    {4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}
  };
  // POWEROFF is low-active; without power, asleep or in standby nothing is promised.
  wire on = POWEROFF & ~SLEEP & ~STANDBY;
  always @(posedge CLOCK) begin
    noise <= {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};
    if (!on)
      DATAOUT <= noise;
    else if (CHIPSELECT) begin
      if (WREN) begin
        memory[ADDRESS] <= (memory[ADDRESS] & ~writes) | (DATAIN & writes);
        DATAOUT <= noise;
      end else
        DATAOUT <= memory[ADDRESS];
    end
  end
endmodule
